"""What can be wrong with an extractor that somebody else trained.

```
ExtractorUnavailableError         422  extractor_unavailable
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class ExtractorUnavailableError(AffError):
    """Weights of an extractor that a recipe names are not here, or are not what they have to be."""

    code = "extractor_unavailable"
    status = 422
    title = "Extractor not available"
