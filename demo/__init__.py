"""The app: compare models side by side on your own photographs, in the browser."""
