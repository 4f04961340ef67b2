"""What people and Prometheus see: outcomes, KPIs, typed rows, serializers. Reads only, but for the tallies."""
