"""Values and operating-system helpers; imports only the errors of the package."""
