"""The paper's findings, measured: variants of the method trained with several seeds, and judged in pairs."""
