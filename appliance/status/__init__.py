"""The page that IT looks at."""
