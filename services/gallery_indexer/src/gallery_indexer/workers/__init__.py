"""The process that feeds a graphics card."""
