"""The dimuon search with systematic variations."""
