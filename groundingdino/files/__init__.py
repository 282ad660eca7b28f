"""Files from elsewhere: downloads, the hub, weight files, and where the data lie that come along."""
