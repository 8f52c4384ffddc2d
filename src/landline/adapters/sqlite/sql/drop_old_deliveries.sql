DROP TABLE deliveries_1
