"""Ways to fuse an image's features into its gallery embedding, one a file."""
