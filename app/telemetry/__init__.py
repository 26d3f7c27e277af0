"""Questions about answers and events: daily exports of provenance, and SQL over them."""
