"""Jobs of all rules, and operations of commands; imports all folders but cli."""
