"""The paper's figures and its table, on any networks and photographs, and what lies beyond them."""
