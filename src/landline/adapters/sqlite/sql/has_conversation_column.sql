SELECT EXISTS (SELECT 1 FROM pragma_table_info('deliveries') WHERE name = 'conversation')
