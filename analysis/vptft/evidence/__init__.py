"""Results, findings, the hypotheses table and the statistics that judge them."""
