from __future__ import annotations

from typing import get_type_hints

from aff_shared.schemas.searching import HitArguments, HitOptions, PhotographArguments, PhotographOptions


def test_the_keyword_arguments_of_clients_are_the_options_of_the_service() -> None:
    assert set(get_type_hints(HitArguments)) == set(HitOptions.model_fields)
    assert set(get_type_hints(PhotographArguments)) == set(PhotographOptions.model_fields)
