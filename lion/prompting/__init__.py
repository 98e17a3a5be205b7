"""The four roles, pure: text in, request out; reply in, record out."""
