from __future__ import annotations

import re
from collections.abc import Iterator

from aff_shared import errors
from aff_shared.errors import AffError, ImageError


def _tree(error_class: type[AffError], depth: int = 0) -> Iterator[tuple[int, str, int, str]]:
    yield depth, error_class.__name__, error_class.status, error_class.code
    for child in error_class.__subclasses__():
        if child.__module__.startswith(f"{errors.__name__}."):
            yield from _tree(child, depth + 1)


def _drawn_tree() -> list[tuple[int, str, int, str]]:
    lines = re.findall(r"^([│├└─ ]*)(\w+Error) +(\d{3})  (\w+)$", errors.__doc__ or "", flags=re.MULTILINE)
    return [(len(indent) // 4, name, int(status), code) for indent, name, status, code in lines]


def test_the_drawing_of_the_tree_is_the_tree() -> None:
    assert _drawn_tree() == list(_tree(AffError))


def test_every_error_has_a_unique_code_and_title() -> None:
    classes = {name: getattr(errors, name) for _, name, _, _ in _tree(AffError)}
    assert len({error_class.code for error_class in classes.values()}) == len(classes)
    assert len({error_class.title for error_class in classes.values()}) == len(classes)


def test_every_status_separates_client_from_server_errors() -> None:
    for _, name, status, _ in _tree(AffError):
        ours = not issubclass(getattr(errors, name), errors.RequestError | ImageError)
        assert (
            status >= 500 or name == "ServiceOverloadedError"
        ) is ours  # 429: our limit, but the client has to slow down


def test_an_error_reads_as_its_item_and_what_happened() -> None:
    assert str(ImageError("cannot be used", item="a.jpg")) == "a.jpg: cannot be used"
    assert str(ImageError("cannot be used")) == "cannot be used"
