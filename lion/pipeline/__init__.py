"""What runs the stages, or says what running them would take."""
