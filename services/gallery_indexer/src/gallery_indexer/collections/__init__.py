"""The collections of a gallery: opening, editing, comparing, remixing, export and import."""
