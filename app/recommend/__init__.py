"""The command `marquee recommend`: uses the model, and training where recent events are given."""
