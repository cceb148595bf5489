"""The query language of the search bar: text to a tree, a tree to what each store understands. See docs/search.md."""
