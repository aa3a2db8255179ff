"""What a table tells of itself: a first guess of a project, each with its reason, proved on other rows."""
