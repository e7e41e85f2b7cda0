"""How a run is drawn: lines and colours, no decisions."""
