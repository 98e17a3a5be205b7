"""Paid calls: asked once, durable before use, within the budget and the endpoint's pace."""
