"""One module a stage; a stage knows its input and output files and no other stage."""
