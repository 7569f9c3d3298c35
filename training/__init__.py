"""One trainer for every model: it touches roles, parameters, losses and predictions, and knows no model by name."""
