"""What is measured of Tiercel: rates, latencies, fairness, cost."""
