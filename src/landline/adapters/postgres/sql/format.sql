SELECT format FROM record_format
