"""What keeps a machine well: backups and their way back, a look at the host, what could go."""
