"""params.yaml as typed settings, what it names, and where things lie."""
