# culvert_proto: the messages of proto/*.proto, included as "tunnel.pb-c.h".
find_program(CULVERT_PROTOC_C NAMES protoc-c REQUIRED)

set(generated "${CMAKE_BINARY_DIR}/proto")
file(MAKE_DIRECTORY "${generated}")
file(GLOB protos CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/proto/*.proto")

set(proto_sources "")
foreach(proto IN LISTS protos)
	cmake_path(GET proto STEM name)
	add_custom_command(
		OUTPUT "${generated}/${name}.pb-c.c" "${generated}/${name}.pb-c.h"
		COMMAND "${CULVERT_PROTOC_C}" "--c_out=${generated}" "--proto_path=${CMAKE_SOURCE_DIR}/proto" "${proto}"
		DEPENDS "${proto}"
		COMMENT "Messages of ${name}.proto"
		VERBATIM)
	list(APPEND proto_sources "${generated}/${name}.pb-c.c")
endforeach()

if(proto_sources)
	add_library(culvert_proto STATIC ${proto_sources})
	target_compile_options(culvert_proto PRIVATE -w)
	target_include_directories(culvert_proto SYSTEM PUBLIC "${generated}")
	target_link_libraries(culvert_proto PUBLIC PkgConfig::PROTOBUF_C)
else()
	add_library(culvert_proto INTERFACE)
endif()
