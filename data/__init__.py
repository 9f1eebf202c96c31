"""What travels with the package: trained weights and published numbers. README.md says where each file comes from."""
