"""The built-in families, one module each; a module registers its models when it is imported."""

BUILTIN = ("grayscale", "regression", "classification", "fusion", "blend", "zhang", "ddcolor", "deoldify")
