"""An honest evaluation: labelled images through the path that serves, figures with intervals, a report and a card."""
