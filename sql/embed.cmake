# Puts .sql files into a program: included, it offers embed_sql(); run as a script, it writes the C for it.
#
# embed_sql(TARGET QUERIES MIGRATIONS): each file of the folder QUERIES becomes `const struct db_statement SQL_<file>`,
# declared in "sql/statements.h"; each NNNN_<name>.sql of the folder MIGRATIONS becomes a row of SQL_MIGRATIONS
# ("sql/migration.h"). The bytes go in as numbers, so no text can break the C and no compiler limit is met.

function(embed_sql target queries migrations)
  file(GLOB query_files CONFIGURE_DEPENDS ${queries}/*.sql)
  file(GLOB migration_files CONFIGURE_DEPENDS ${migrations}/[0-9][0-9][0-9][0-9]_*.sql)
  set(include ${CMAKE_CURRENT_BINARY_DIR}/${target}_embedded)
  set(out ${include}/sql)
  # The lists stand in a file of their own, so that a file that comes or goes makes the C anew.
  list(SORT query_files)
  list(SORT migration_files)
  file(CONFIGURE OUTPUT ${include}/files.cmake CONTENT
    "set(query_files \"@query_files@\")\nset(migration_files \"@migration_files@\")\n" @ONLY)
  add_custom_command(
    OUTPUT ${out}/statements.h ${out}/statements.c ${out}/migrations.c
    COMMAND ${CMAKE_COMMAND} -D files=${include}/files.cmake -D out=${out} -P ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
    DEPENDS ${query_files} ${migration_files} ${include}/files.cmake ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
    COMMENT "Embedding the SQL of ${target}"
    VERBATIM)
  target_sources(${target} PRIVATE ${out}/statements.h ${out}/statements.c ${out}/migrations.c)
  target_include_directories(${target} PUBLIC ${include})
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE)
  return()
endif()
cmake_minimum_required(VERSION 3.25)

# A file's bytes as the body of a C array, sixteen a line, with a NUL.
function(read_bytes file result)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(................................)" "\\1\n\t" hex "${hex}")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," hex "${hex}")
  set(${result} "\t${hex}0x00" PARENT_SCOPE)
endfunction()

include(${files})

set(header "/* Generated from the .sql files. */\n#ifndef KEYFOB_SQL_STATEMENTS_H\n#define KEYFOB_SQL_STATEMENTS_H\n\n")
string(APPEND header "#include \"sql/db.h\"\n\n")
set(statements "/* Generated from the .sql files. */\n#include \"sql/statements.h\"\n")
set(all "")
set(count 0)
foreach(file IN LISTS query_files)
  get_filename_component(name ${file} NAME_WE)
  if(NOT name MATCHES "^[a-z][a-z0-9_]*$")
    message(FATAL_ERROR "${file}: the name of a statement is lower-case letters, digits and _")
  endif()
  read_bytes(${file} bytes)
  string(APPEND header "extern const struct db_statement SQL_${name};\n")
  string(APPEND statements "\nstatic const unsigned char TEXT_${name}[] = {\n${bytes}\n};\n"
    "const struct db_statement SQL_${name} = { .name = \"${name}\", .text = (const char *)TEXT_${name} };\n")
  string(APPEND all "\t&SQL_${name},\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND header "\n/* All of the above, and a NULL. */\nextern const struct db_statement *const SQL_ALL[];\nextern const size_t SQL_COUNT;\n\n#endif\n")
string(APPEND statements "\nconst struct db_statement *const SQL_ALL[] = {\n${all}\tNULL,\n};\nconst size_t SQL_COUNT = ${count};\n")

set(migrations "/* Generated from the .sql files. */\n#include \"sql/migration.h\"\n\n#include <stddef.h>\n")
set(rows "")
set(count 0)
foreach(file IN LISTS migration_files)
  get_filename_component(name ${file} NAME_WE)
  string(REGEX MATCH "^0*([0-9]+)_" number ${name})
  set(version ${CMAKE_MATCH_1})
  if(version IN_LIST versions)
    message(FATAL_ERROR "${file}: there are two migrations ${version}")
  endif()
  list(APPEND versions ${version})
  read_bytes(${file} bytes)
  string(APPEND migrations "\nstatic const unsigned char TEXT_${version}[] = {\n${bytes}\n};\n")
  string(APPEND rows "\t{ ${version}, \"${name}\", (const char *)TEXT_${version} },\n")
  math(EXPR count "${count} + 1")
endforeach()
string(APPEND migrations "\nconst struct migration SQL_MIGRATIONS[] = {\n${rows}\t{ 0, NULL, NULL },\n};\nconst size_t SQL_MIGRATION_COUNT = ${count};\n")

file(WRITE ${out}/statements.h "${header}")
file(WRITE ${out}/statements.c "${statements}")
file(WRITE ${out}/migrations.c "${migrations}")
