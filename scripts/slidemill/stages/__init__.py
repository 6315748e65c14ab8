"""What each rule and each command runs; imports all folders but cli."""
