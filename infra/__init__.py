"""What runs around the application: the local stack, fakes of providers, images."""
