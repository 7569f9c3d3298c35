"""One evaluator for every model: metrics, and models x photos -> figures."""
