"""`systolith report`: one HTML page of charts from the report of a run."""
