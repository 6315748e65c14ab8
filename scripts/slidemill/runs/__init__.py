"""What a run is: its configuration, plan, lock and code; imports all folders but stages and cli."""
