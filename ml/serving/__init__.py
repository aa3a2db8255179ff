"""The service that answers, and how it is started, asked and stopped."""
