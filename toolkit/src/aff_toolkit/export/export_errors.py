"""What can go wrong in an export.

```
ExportError               500  export_failed
├── ExportMismatchError   500  export_mismatch
└── QuantisationError     500  quantisation_failed
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class ExportError(AffError):
    """A query encoder cannot be exported."""

    code = "export_failed"
    title = "Export failed"


class ExportMismatchError(ExportError):
    """The exported graph does not compute what the trained network computes."""

    code = "export_mismatch"
    title = "Exported encoder differs from the trained one"


class QuantisationError(ExportError):
    """ONNX Runtime cannot quantise the graph."""

    code = "quantisation_failed"
    title = "Quantisation failed"
