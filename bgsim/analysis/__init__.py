"""What is made of columns: comparisons of two results. It knows nothing of engines and stores."""
