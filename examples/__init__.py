"""Small programs that show how to use Systolith; run them with `python -m systolith.examples.NAME`."""
