"""What `colorzoo bench` measured: result files, and the tables, plots and page that are made of them."""
