"""Errors of feature stores.

```
FeatureStoreError                   500  feature_store_unusable
├── FeatureStoreMismatchError       409  feature_store_mismatch
├── FeatureShardError               500  feature_shard_damaged
├── FeatureStoreNotWrittenError     507  feature_store_not_written
└── FeatureNotFiniteError           500  feature_not_finite
```
"""

from __future__ import annotations

from aff_shared.errors import AffError


class FeatureStoreError(AffError):
    """The directory has no finished feature store of this release."""

    code = "feature_store_unusable"
    title = "Unusable feature store"


class FeatureStoreMismatchError(FeatureStoreError):
    """The directory has features of other extractors, photographs or settings."""

    code = "feature_store_mismatch"
    status = 409
    title = "Feature store mismatch"


class FeatureShardError(FeatureStoreError):
    """A shard is missing or altered."""

    code = "feature_shard_damaged"
    title = "Missing or altered feature shard"


class FeatureStoreNotWrittenError(FeatureStoreError):
    """A shard could not be written."""

    code = "feature_store_not_written"
    status = 507
    title = "Feature store not written"


class FeatureNotFiniteError(FeatureStoreError):
    """An extractor returned NaN, infinity, or a value beyond float16."""

    code = "feature_not_finite"
    title = "Feature is not finite"
