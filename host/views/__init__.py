"""What pictures of a run need beyond its layers: activity, memories and array over time, in compact form."""

from .views import Views, views_of

__all__ = ["Views", "views_of"]
