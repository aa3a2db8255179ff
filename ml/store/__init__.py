"""What was answered and what came true, in a database."""
