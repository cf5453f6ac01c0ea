/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "edge/fault.h"

#include <stdarg.h>
#include <stdio.h>

int edge_fault(char error[EDGE_ERROR_BYTES], int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, EDGE_ERROR_BYTES, format, args);
	va_end(args);
	return code;
}
