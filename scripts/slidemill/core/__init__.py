"""Values and operating-system helpers; imports nothing else of the package but its errors."""
