"""What a run is: its plan, parameters, lock and code; imports all folders but stages and cli."""
