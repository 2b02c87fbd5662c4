-- How a delivery reached purgehook: as a 'webhook', whose signature fitted the body,
-- or out of the forge's own 'log', over an authenticated connection.
ALTER TABLE deliveries ADD COLUMN source TEXT NOT NULL DEFAULT 'webhook';
